-- Children, in the run that started them.

-- part: child_columns
run_id, seq, workflow_id, workflow_type, child_run_id, policy, closed

-- name: put_child
INSERT INTO children ({{child_columns}})
SELECT {{child_columns}} FROM unnest(
    $1::int[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::boolean[]
) AS given (n, {{child_columns}})
WHERE n NOT IN (SELECT n FROM refused)
ON CONFLICT (run_id, seq) DO UPDATE SET
    workflow_id = excluded.workflow_id, workflow_type = excluded.workflow_type, child_run_id =
    excluded.child_run_id, policy = excluded.policy, closed = excluded.closed;

-- name: delete_children
DELETE FROM children
WHERE run_id = ANY(ARRAY(
    SELECT run_id FROM unnest($1::int[], $2::text[]) AS given (n, run_id)
    WHERE n NOT IN (SELECT n FROM refused)
));

-- name: load_children
-- None for who knows the run as of an event: the later ones tell of children.
SELECT {{child_columns}} FROM children WHERE run_id = $1 AND $2::bigint IS NULL;
