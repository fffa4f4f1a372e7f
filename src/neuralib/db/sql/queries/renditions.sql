-- name: get_rendition
select kind, key, bytes, media_type, facts from renditions where owner_id = $1 and blob_id = $2 and kind = $3

-- name: insert_rendition
-- None is made for a blob that went meanwhile, nor a second one.
insert into renditions (owner_id, blob_id, kind, key, bytes, media_type, facts)
select b.owner_id, b.id, $3, $4, $5, $6, $7 from blobs b where b.owner_id = $1 and b.id = $2 for key share
on conflict (blob_id, kind) do nothing
