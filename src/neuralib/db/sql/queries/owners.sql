-- name: upsert_owner
insert into owners (id, subject, issuer) values ($1, $2, $3)
on conflict (issuer, subject) do update set subject = excluded.subject
returning id

-- name: lock_owner
-- One submission of an owner at a time; events of theirs wait until it commits.
select id from owners where id = $1 for no key update

-- name: find_owner
select id from owners where subject = $1 and issuer = $2

-- name: get_owner
select id, issuer, subject, created_at from owners where id = $1

-- name: owner_usage
select ({stored_bytes}) as storage_bytes,
       (select count(*) from jobs where owner_id = $1 and state in ('queued', 'running')) as jobs_active
