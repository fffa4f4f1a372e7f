-- name: lock_assets_to_change
select id from assets where owner_id = $1 and id = any($2::uuid[]) and trashed_at is null order by id for update

-- name: say_of_assets
-- What is null stays as it is; tags are taken away before others are added.
update assets
set tags = (
        select coalesce(array_agg(tag order by place), '{}')
        from (
            select tag, min(place) as place
            from unnest(array(select t from unnest(tags) t where t <> all($4::text[])) || $3::text[])
                 with ordinality as each (tag, place)
            group by tag
        ) kept
    ),
    rating = coalesce($5::smallint, rating), favorite = coalesce($6::boolean, favorite), color = coalesce($7::text, color),
    version = version + 1, updated_at = now()
where id = any($2::uuid[]) and owner_id = $1

-- name: most_tags
select coalesce(max(cardinality(array(
    select t from unnest(tags) t where t <> all($4::text[]) union select unnest($3::text[])
))), 0)
from assets where owner_id = $1 and id = any($2::uuid[])

-- name: lock_subtrees
with recursive tree as (
    select id from assets where owner_id = $1 and id = any($2::uuid[])
    union
    select a.id from assets a join tree t on a.parent_id = t.id
)
select id from assets where id in (select id from tree) order by id for update

-- name: move_assets
-- What is moved without its parent becomes a root. What lies in the trash moves along.
update assets a
set library_id = $3, version = version + 1, updated_at = now(),
    parent_id = case when a.parent_id = any($2::uuid[]) then a.parent_id end
where owner_id = $1 and id = any($2::uuid[]) and library_id <> $3

-- name: copy_assets
-- $3 are the new ids of $2. The bytes are shared; a copy is no output of the job, and remembers what it is one of.
insert into assets (id, owner_id, library_id, parent_id, kind, role, stem, name, audio, facts, blob_id, tags, rating,
                    favorite, color, notes, metadata, search_text, bpm, musical_key, regions_version)
select n.id, a.owner_id, $4, p.id, a.kind, a.role, a.stem, a.name, a.audio,
       a.facts || jsonb_build_object('copied_from', a.id), a.blob_id, a.tags, a.rating, a.favorite, a.color, a.notes,
       a.metadata, a.search_text, a.bpm, a.musical_key, a.regions_version
from unnest($2::uuid[], $3::uuid[]) as n (old, id)
join assets a on a.id = n.old and a.owner_id = $1
left join unnest($2::uuid[], $3::uuid[]) as p (old, id) on p.old = a.parent_id

-- name: copy_regions
insert into regions (id, owner_id, asset_id, kind, name, start_s, end_s, color, tags)
select gen_random_uuid(), r.owner_id, n.id, r.kind, r.name, r.start_s, r.end_s, r.color, r.tags
from unnest($2::uuid[], $3::uuid[]) as n (old, id) join regions r on r.asset_id = n.old and r.owner_id = $1

-- name: live_assets_of
select {asset_columns}
from assets a join blobs b on b.id = a.blob_id
where a.owner_id = $1 and a.id = any($2::uuid[]) and a.trashed_at is null
order by a.id
