-- Large files that come in parts, and what is made once from a blob and stored beside it: peaks, previews.

create table renditions (
    blob_id    uuid not null,
    kind       text not null,
    owner_id   uuid not null references owners (id),
    key        text not null unique,
    bytes      bigint not null,
    media_type text not null,
    facts      jsonb not null default '{}',
    created_at timestamptz not null default now(),
    primary key (blob_id, kind),
    foreign key (owner_id, blob_id) references blobs (owner_id, id) on delete cascade
);

-- They go with their blob, whoever deletes it: their keys are then left to the sweeper.
create function forget_rendition() returns trigger language plpgsql as $$
begin
    insert into pending_objects (key, delete_after) values (old.key, now())
    on conflict (key) do update set delete_after = excluded.delete_after;
    return null;
end
$$;
create trigger renditions_gone after delete on renditions for each row execute function forget_rendition();

create table uploads (
    id          uuid primary key,  -- the asset that it becomes is called the same
    owner_id    uuid not null references owners (id),
    library_id  uuid,              -- null: it was deleted meanwhile
    filename    text not null,
    bytes       bigint not null,   -- what the client announced, as sha256
    sha256      text,
    meta        jsonb not null default '{}',
    part_bytes  bigint not null,
    key         text not null unique,
    handle      text not null,     -- what the object store calls it
    state       text not null default 'open' check (state in ('open', 'completed', 'failed')),
    error       jsonb,
    lease_until timestamptz not null default '-infinity',  -- of whoever completes it
    created_at  timestamptz not null default now(),
    expires_at  timestamptz not null,
    unique (owner_id, id),
    foreign key (owner_id, library_id) references libraries (owner_id, id)
);
create index uploads_expiry on uploads (expires_at);
create index uploads_library on uploads (library_id);
