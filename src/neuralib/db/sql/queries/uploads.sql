-- name: insert_upload
insert into uploads (id, owner_id, library_id, filename, bytes, sha256, meta, part_bytes, key, handle, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now() + $11::interval)

-- name: get_upload
select *, lease_until > now() as completing from uploads where owner_id = $1 and id = $2 and expires_at > now()

-- name: open_uploads
select count(*) as count, coalesce(sum(bytes), 0)::bigint as bytes from uploads
where owner_id = $1 and state = 'open' and expires_at > now()

-- name: claim_upload
-- Whoever completes it has it alone until the lease ends.
update uploads set lease_until = now() + $2::interval
where id = $1 and state = 'open' and lease_until < now() and expires_at > now() returning id

-- name: renew_upload
-- It does not expire under the hands of whoever completes it.
update uploads set lease_until = now() + $2::interval, expires_at = greatest(expires_at, now() + $2::interval)
where id = $1 and state = 'open'

-- name: end_upload
update uploads set state = $2, error = $3, lease_until = '-infinity' where id = $1 and state = 'open'

-- name: expired_uploads
select *, false as completing from uploads where expires_at < now() order by expires_at limit $1

-- name: forget_uploads
-- Their parts are left to the reaper.
update uploads set library_id = null, expires_at = now() where owner_id = $1 and library_id = $2

-- name: delete_upload
delete from uploads where id = $1
