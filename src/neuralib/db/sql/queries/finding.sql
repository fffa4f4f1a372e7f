-- db/finding.py puts a question together from these blocks: only what is asked for stands in the statement, so that the
-- planner sees what it is about. `$?` is the next argument; the owner is $1.

-- name: find_page
-- Ids first: the rows behind a page are many and wide.
with page as (
    select a.id, {{keys}}
    from {{source}}
    where {{where}}
    order by {{order}}
    limit $?
)
select {asset_columns}, {{names}}
from page p join assets a on a.id = p.id join blobs b on b.id = a.blob_id
order by {{order_page}}

-- name: find_count
select count(*) from {{source}} where {{where}}

-- name: find_among
assets a

-- name: find_among_words
-- What is sung in a transcript also finds the recordings above it.
(
    with recursive asked as materialized (
        select search_query($?::text) as words  -- once, not for each row
    ), hits as (
        select a.id, a.parent_id, ts_rank(a.search, words) as rank,
               a.kind = 'transcript' and ts_filter(a.search, array['d']::"char"[]) @@ words as sung
        from asked join assets a on a.search @@ words
        where a.owner_id = $1 and a.trashed_at is null
    ), risen as (
        select id, parent_id, rank from hits where sung
        union
        select p.id, p.parent_id, r.rank from risen r join assets p on p.id = r.parent_id
    )
    select id, max(rank) as rank from (select id, rank from hits union all select id, rank from risen) f group by id
) r join assets a on a.id = r.id

-- name: find_owned
a.owner_id = $1 and a.trashed_at is null

-- name: find_library
a.library_id = $?::uuid

-- name: find_roots
a.parent_id is null

-- name: find_parent
a.parent_id = $?::uuid

-- name: find_kind
a.kind = $?::text

-- name: find_role
a.role = $?::text

-- name: find_stem
a.stem = $?::text

-- name: find_tags
a.tags @> $?::text[]

-- name: find_bpm_min
a.bpm >= $?::float8

-- name: find_bpm_max
a.bpm <= $?::float8

-- name: find_tempo
-- As it was counted, or twice, or half as fast.
exists (
    select from unnest(array[a.bpm, a.bpm * 2, a.bpm / 2]) as counted
    where counted between ($?::float8[])[1] and ($?::float8[])[2]
)

-- name: find_keys
a.musical_key = any($?::text[])

-- name: find_duration_min
a.duration >= $?::float8

-- name: find_duration_max
a.duration <= $?::float8

-- name: find_created_after
a.created_at >= $?::timestamptz

-- name: find_created_before
a.created_at < $?::timestamptz

-- name: find_rating_min
a.rating >= $?::int

-- name: find_favorite
a.favorite = $?::boolean

-- name: find_has_stems
exists (select from assets c where c.parent_id = a.id and c.role = 'stem' and c.trashed_at is null)

-- name: find_has_lyrics
-- Heard in the recording itself, or in a stem of it.
(exists (select from assets c where c.parent_id = a.id and c.kind = 'transcript' and c.trashed_at is null) or exists (
    select from assets s join assets c on c.parent_id = s.id
    where s.parent_id = a.id and c.kind = 'transcript' and c.trashed_at is null
))

-- name: find_has_notes
(exists (select from assets c where c.parent_id = a.id and c.kind = 'midi' and c.trashed_at is null) or exists (
    select from assets s join assets c on c.parent_id = s.id
    where s.parent_id = a.id and c.kind = 'midi' and c.trashed_at is null
))

-- name: list_made
-- What was made from each of these and from its stems, in words.
with children as (
    select parent_id as above, id, kind, role, stem from assets
    where owner_id = $1 and parent_id = any($2::uuid[]) and trashed_at is null
), found as (
    select above, kind, role, stem from children
    union all
    select s.above, c.kind, c.role, null from children s join assets c on c.parent_id = s.id where c.trashed_at is null
)
select above, array_agg(distinct case kind when 'transcript' then 'lyrics' when 'midi' then 'notes' else stem end) as made
from found
where kind in ('transcript', 'midi') or (role = 'stem' and stem is not null)
group by above

-- name: key_created_at
a.created_at

-- name: key_name
lower(a.name)

-- name: key_duration
a.duration

-- name: key_bpm
a.bpm

-- name: key_rating
a.rating

-- name: key_relevance
r.rank

-- name: list_tags
select tag, count(*) as assets
from assets a cross join unnest(a.tags) tag
where a.owner_id = $1 and a.trashed_at is null
  and ($2::text = '' or starts_with(tag, $2) or position(' ' || $2 in tag) > 0)
group by tag
order by count(*) desc, tag
limit $3
