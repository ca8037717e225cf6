-- What the code of runs was asked and has answered.

-- part: update_columns
run_id, seq, name, update_id, outcome

-- name: put_update
INSERT INTO updates ({{update_columns}})
SELECT {{update_columns}} FROM unnest(
    $1::int[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bytea[]
) AS given (n, {{update_columns}})
WHERE n NOT IN (SELECT n FROM refused)
ON CONFLICT (run_id, seq) DO UPDATE SET
    name = excluded.name, update_id = excluded.update_id, outcome = excluded.outcome;

-- name: delete_updates
DELETE FROM updates
WHERE run_id = ANY(ARRAY(
    SELECT run_id FROM unnest($1::int[], $2::text[]) AS given (n, run_id)
    WHERE n NOT IN (SELECT n FROM refused)
));

-- name: load_updates
-- Those that are not answered.
SELECT {{update_columns}} FROM updates WHERE run_id = $1 AND length(outcome) = 0;

-- name: find_update
SELECT {{update_columns}} FROM updates WHERE run_id = $1 AND seq = $2;
