-- Pieces from which the statements of lists and counts are put together, one statement per form of
-- filter. `{…}` stands for another piece, whose parameters are numbered behind those of this one.
-- What is lateral, or has an OFFSET, is looked up by its key, row by row, whatever the planner thinks;
-- a source with one is read by its own index, and not in the order that the list has.
-- Conditions are never unknown: what may be NULL is looked at only where it is not.

-- name: listed_runs
SELECT {{run_columns}}, started, closed
FROM ({keys}) AS page
CROSS JOIN LATERAL (
    SELECT {{run_columns}}, started, closed FROM run_summaries
    WHERE run_summaries.run_id = page.listed_id OFFSET 0
) AS shown
ORDER BY place {direction}, listed_id {direction};

-- name: page_keys
SELECT {id} AS listed_id, {place} AS place
FROM {relation}
WHERE runs.namespace = $1 AND {condition} AND {after}
ORDER BY {place} {direction}, {id} {direction} LIMIT $2;

-- name: page_keys_by_id
SELECT {id} AS listed_id, 0 AS place
FROM {relation}
WHERE runs.namespace = $1 AND {condition} AND {after}
ORDER BY {id} {direction} LIMIT $2;

-- name: counted_runs
SELECT count(*) FROM {relation} WHERE runs.namespace = $1 AND {condition};

-- name: counted_groups
SELECT {place}, count(*)
FROM {relation}
WHERE runs.namespace = $1 AND {condition}
GROUP BY {place} ORDER BY count(*) DESC, {place} IS NULL, {place} LIMIT $2;

-- name: counted_source
-- How many rows a source has, up to a bound.
SELECT count(*) FROM (SELECT 1 FROM ({source}) AS given LIMIT $1) AS counted;

-- name: relation_of_all
runs;

-- name: relation_of_few
(SELECT run_id FROM ({source} OFFSET 0) AS given GROUP BY run_id) AS found
CROSS JOIN LATERAL (
    SELECT {{run_columns}} FROM runs WHERE runs.run_id = found.run_id OFFSET 0
) AS runs;

-- name: relation_of_key
({source}) AS found
CROSS JOIN LATERAL (
    SELECT {{run_columns}} FROM runs WHERE runs.run_id = found.run_id OFFSET 0
) AS runs;

-- name: relation_in_order
(
    SELECT run_id, value FROM search_attributes WHERE namespace = $1 AND name = $2 AND is_least
) AS sorted
CROSS JOIN LATERAL (
    SELECT {{run_columns}} FROM runs WHERE runs.run_id = sorted.run_id OFFSET 0
) AS runs;

-- name: relation_of_few_in_order
(SELECT run_id FROM ({source} OFFSET 0) AS given GROUP BY run_id) AS found
CROSS JOIN LATERAL (
    SELECT {{run_columns}} FROM runs WHERE runs.run_id = found.run_id OFFSET 0
) AS runs
CROSS JOIN LATERAL (
    SELECT value FROM search_attributes AS owned
    WHERE owned.run_id = runs.run_id AND owned.name = $1 AND owned.is_least OFFSET 0
) AS sorted;

-- name: relation_with_groups
{relation} LEFT JOIN LATERAL (
    SELECT value FROM search_attributes AS owned
    WHERE owned.run_id = runs.run_id AND owned.name = $1 OFFSET 0
) AS grouped ON TRUE;

-- name: source_by_key
SELECT run_id FROM search_attributes WHERE namespace = $1 AND name = $2 AND value = $3;

-- name: source_by_range
SELECT run_id FROM search_attributes
WHERE namespace = $1 AND name = $2 AND value >= $3 AND value < $4;

-- name: source_by_parent
-- The second condition on the parent is that of the index.
SELECT run_id FROM runs
WHERE namespace = $1 AND parent_run_id = $2 AND parent_run_id <> '';

-- name: source_by_parent_workflow
SELECT run_id FROM runs
WHERE namespace = $1 AND parent_workflow_id = $2 AND parent_workflow_id <> '';

-- name: source_by_field
SELECT run_id FROM runs WHERE namespace = $1 AND {condition};

-- name: source_of_all
SELECT run_id FROM runs WHERE namespace = $1;

-- name: nearest_of_source
SELECT run_id FROM ({source} OFFSET 0) AS given WHERE {condition}
GROUP BY run_id ORDER BY run_id {direction} LIMIT $1;

-- name: edge_of_source
-- Where a stretch of a source in order ends.
SELECT run_id FROM ({source}) AS given WHERE {condition}
ORDER BY run_id {direction} LIMIT 1 OFFSET $1;

-- name: edge_by_time
-- Where a stretch in the order of time ends.
SELECT runs.run_id, {place} FROM runs
WHERE runs.namespace = $1 AND {condition} AND {after}
ORDER BY {place} {direction}, runs.run_id {direction} LIMIT 1 OFFSET $2;

-- name: id_of_given
given.run_id;

-- name: id_of_run
runs.run_id;

-- name: id_of_found
found.run_id;

-- name: id_of_sorted
sorted.run_id;

-- name: place_sorted
sorted.value;

-- name: place_below
sorted.value < $1;

-- name: place_since
sorted.value >= $1;

-- name: place_grouped
grouped.value;

-- name: in_order_by_ascending
ASC;

-- name: in_order_by_descending
DESC;

-- name: after_id_by_ascending
{id} > $1;

-- name: after_id_by_descending
{id} < $1;

-- name: until_id_by_ascending
{id} <= $1;

-- name: until_id_by_descending
{id} >= $1;

-- name: after_place_by_ascending
({place}, {id}) > ($1, $2);

-- name: after_place_by_descending
({place}, {id}) < ($1, $2);

-- name: until_place_by_ascending
({place}, {id}) <= ($1, $2);

-- name: until_place_by_descending
({place}, {id}) >= ($1, $2);

-- name: always
TRUE;

-- name: both
({left} AND {right});

-- name: either
({left} OR {right});

-- name: negated
NOT {part};

-- name: set
{column} IS NOT NULL;

-- name: missing
{column} IS NULL;

-- name: hidden
-- Here statistics tell whether an index is worth it.
{column};

-- name: barred
-- An expression keeps the column from being sought in an index.
({column} + 0);

-- name: present
({column} IS NOT NULL AND {part});

-- name: compared_by_equal
{column} = $1;

-- name: compared_by_below
{column} < $1;

-- name: compared_by_up_to
{column} <= $1;

-- name: compared_by_above
{column} > $1;

-- name: compared_by_since
{column} >= $1;

-- name: attribute_by_key
EXISTS (
    SELECT 1 FROM search_attributes AS owned
    WHERE owned.run_id = runs.run_id AND owned.name = $1 AND owned.value = $2 OFFSET 0
);

-- name: attribute_by_range
EXISTS (
    SELECT 1 FROM search_attributes AS owned
    WHERE owned.run_id = runs.run_id
        AND owned.name = $1 AND owned.value >= $2 AND owned.value < $3 OFFSET 0
);

-- name: column_by_workflow_id
runs.workflow_id;

-- name: column_by_run_id
runs.run_id;

-- name: column_by_workflow_type
runs.workflow_type;

-- name: column_by_task_queue
runs.task_queue;

-- name: column_by_status
runs.status;

-- name: column_by_parent_workflow_id
runs.parent_workflow_id;

-- name: column_by_parent_run_id
runs.parent_run_id;

-- name: column_by_attempt
runs.attempt;

-- name: column_by_priority
runs.priority;

-- name: column_by_history_length
runs.history_length;

-- name: column_by_history_bytes
runs.history_bytes;

-- name: column_by_cancel_requested
runs.cancel_requested;

-- name: column_by_created_at
runs.created_at_us;

-- name: column_by_updated_at
runs.updated_at_us;

-- name: column_by_started_at
runs.started_at_us;

-- name: column_by_completed_at
runs.closed_at_us;
