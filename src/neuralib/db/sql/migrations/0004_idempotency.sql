-- What was answered to a request that carried an Idempotency-Key, so that the same request is answered so again.

create table idempotency_keys (
    owner_id    uuid not null references owners (id),
    route       text not null,
    key         text not null,
    fingerprint text,               -- of the whole request; null until a streamed body has been read to its end
    first_id    uuid not null,      -- what the request makes has this id and those after it, however often it is tried
    attempt     int not null default 1,
    lease_until timestamptz not null,
    status      int,                -- null until it is answered
    headers     jsonb,
    body        bytea,
    created_at  timestamptz not null default now(),
    primary key (owner_id, route, key)
);
create index idempotency_keys_age on idempotency_keys (created_at);
