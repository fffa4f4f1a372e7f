-- name: insert_credential
insert into credentials (id, owner_id, parent_id, kind, name, prefix, digest, scopes, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
returning *

-- name: find_credential
-- Its time of use moves once a minute, so that a busy key does not write with every request.
with found as (
    select *, coalesce(expires_at <= now(), false) as expired from credentials where kind = $1 and digest = $2
), touched as (
    update credentials set last_used_at = now()
    where id in (select id from found) and (last_used_at is null or last_used_at < now() - interval '1 minute')
)
select * from found

-- name: list_keys
select c.*, o.issuer, o.subject from credentials c join owners o on o.id = c.owner_id
where c.kind = 'key' and ($1::uuid is null or c.owner_id = $1) and ($2::uuid is null or c.id < $2)
order by c.id desc
limit $3

-- name: count_keys
select count(*) from credentials where kind = 'key' and owner_id = $1

-- name: delete_key
delete from credentials where kind = 'key' and id = $1 and ($2::uuid is null or owner_id = $2) returning *

-- name: trim_sessions
delete from credentials
where kind = 'session' and owner_id = $1 and (expires_at <= now() or id in (
    select id from credentials where kind = 'session' and owner_id = $1 order by id desc offset $2
))

-- name: delete_session
delete from credentials where kind = 'session' and id = $1

-- name: ended_credentials
-- Of these, the ones that open nothing any more.
select asked.id from unnest($1::uuid[]) as asked (id)
where not exists (
    select from credentials c where c.id = asked.id and (c.expires_at is null or c.expires_at > now())
)
