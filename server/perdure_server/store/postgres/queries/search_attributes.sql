-- What runs are found by.

-- part: key_columns
run_id, name, value, namespace, is_least

-- name: put_key
INSERT INTO search_attributes ({{key_columns}})
SELECT {{key_columns}} FROM unnest(
    $1::int[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::boolean[]
) AS given (n, {{key_columns}})
WHERE n NOT IN (SELECT n FROM refused)
ON CONFLICT (run_id, name, value) DO UPDATE SET
    namespace = excluded.namespace, is_least = excluded.is_least;

-- name: delete_key
DELETE FROM search_attributes
USING unnest($1::int[], $2::text[], $3::text[], $4::bytea[]) AS given (n, run_id, name, value)
WHERE search_attributes.run_id = given.run_id AND search_attributes.name = given.name
    AND search_attributes.value = given.value AND n NOT IN (SELECT n FROM refused);

-- name: delete_keys
DELETE FROM search_attributes
WHERE run_id = ANY(ARRAY(
    SELECT run_id FROM unnest($1::int[], $2::text[]) AS given (n, run_id)
    WHERE n NOT IN (SELECT n FROM refused)
));
