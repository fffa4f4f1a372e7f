-- name: regions_version
select regions_version from assets where owner_id = $1 and id = $2

-- name: raise_regions_version
-- Also a lock: of two changes to the regions of an asset, the second waits. Jobs may go on reading the asset.
update assets set regions_version = regions_version + 1 where owner_id = $1 and id = $2
returning regions_version

-- name: list_regions
select * from regions where owner_id = $1 and asset_id = $2 order by start_s, id

-- name: get_region
select * from regions where owner_id = $1 and asset_id = $2 and id = $3

-- name: put_region
-- One that the set holds already keeps its id and its age.
insert into regions (id, owner_id, asset_id, kind, name, start_s, end_s, color, tags)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (owner_id, id) do update
set kind = excluded.kind, name = excluded.name, start_s = excluded.start_s, end_s = excluded.end_s,
    color = excluded.color, tags = excluded.tags, version = regions.version + 1, updated_at = now()
where regions.asset_id = excluded.asset_id
returning *

-- name: delete_region
delete from regions where owner_id = $1 and asset_id = $2 and id = $3

-- name: delete_regions_but
delete from regions where owner_id = $1 and asset_id = $2 and not id = any($3::uuid[])

-- name: count_regions
select count(*) from regions where owner_id = $1 and asset_id = $2

-- name: list_regions_of
select * from regions where owner_id = $1 and asset_id = any($2::uuid[]) order by asset_id, start_s, id
