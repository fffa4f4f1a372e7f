-- name: take_key
-- A new key, or one whose request was not answered and is not being carried out any more.
insert into idempotency_keys as k (owner_id, route, key, fingerprint, first_id, lease_until)
values ($1, $2, $3, $4, $5, now() + $6::interval)
on conflict (owner_id, route, key) do update
set lease_until = excluded.lease_until, attempt = k.attempt + 1
where k.status is null and k.lease_until <= now() and k.fingerprint is not distinct from excluded.fingerprint
returning attempt, first_id

-- name: get_key
select fingerprint, status, headers, body from idempotency_keys where owner_id = $1 and route = $2 and key = $3

-- name: renew_key
update idempotency_keys set lease_until = now() + $5::interval
where owner_id = $1 and route = $2 and key = $3 and attempt = $4 and status is null

-- name: answer_key
update idempotency_keys set fingerprint = $5, status = $6, headers = $7, body = $8
where owner_id = $1 and route = $2 and key = $3 and attempt = $4 and status is null

-- name: prune_keys
delete from idempotency_keys where created_at < now() - $1::interval
