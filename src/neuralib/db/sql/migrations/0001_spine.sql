-- Owners, libraries, assets and their bytes; jobs and their events. Every row belongs to an owner, and the composite
-- foreign keys make a link across owners impossible.

create table owners (
    id         uuid primary key,
    subject    text not null unique,
    event_seq  bigint not null default 0,  -- counted up under its row lock: no gaps, commit order = sequence order
    created_at timestamptz not null default now()
);

create table libraries (
    id          uuid primary key,
    owner_id    uuid not null references owners (id),
    name        text not null,
    description text not null default '',
    color       text,
    version     int not null default 1,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    unique (owner_id, id)
);

create table blobs (
    id         uuid primary key,
    owner_id   uuid not null references owners (id),
    sha256     text not null,
    bytes      bigint not null,
    key        text not null unique,
    media_type text not null,
    created_at timestamptz not null default now(),
    unique (owner_id, sha256),
    unique (owner_id, id)
);

-- A key is here from before its first byte is written until a blob owns it, and again from the moment its blob is
-- gone until the bytes are. Whatever dies in between, the sweeper finds it.
create table pending_objects (
    key          text primary key,
    delete_after timestamptz not null
);
create index on pending_objects (delete_after);

create table jobs (
    id               uuid primary key,
    owner_id         uuid not null references owners (id),
    operation        text not null,
    model            text not null,
    checkpoint       text,
    params           jsonb not null,
    output           jsonb not null default '{}',
    asset_id         uuid,
    library_id       uuid,
    state            text not null default 'queued'
                     check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'timed_out')),
    priority         smallint not null default 0,
    attempt          int not null default 0,
    max_attempts     int not null,
    errors           int not null default 0,
    crashes          int not null default 0,
    drains           int not null default 0,
    timeout_s        double precision not null,
    cancel_requested boolean not null default false,
    not_before       timestamptz not null default now(),
    progress         jsonb not null default '{}',
    result           jsonb not null default '{}',
    error            jsonb,
    worker           text,
    lease_until      timestamptz,
    created_at       timestamptz not null default now(),
    queued_at        timestamptz not null default now(),  -- kept when a job is rescued: it goes first, not last
    started_at       timestamptz,
    finished_at      timestamptz,
    metadata         jsonb not null default '{}',
    unique (owner_id, id),
    foreign key (owner_id, library_id) references libraries (owner_id, id) on delete no action
);
create index jobs_claim on jobs (model, priority desc, queued_at) where state = 'queued';
create index jobs_lease on jobs (lease_until) where state = 'running';
create index jobs_owner on jobs (owner_id, id desc);
create index jobs_asset on jobs (asset_id);
create index jobs_library on jobs (library_id);

create table assets (
    id         uuid primary key,
    owner_id   uuid not null references owners (id),
    library_id uuid not null,
    parent_id  uuid,
    kind       text not null,
    role       text not null,
    stem       text,
    name       text not null,
    audio      jsonb,
    facts      jsonb not null default '{}',
    job_id     uuid,
    blob_id    uuid not null,
    version    int not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (owner_id, id),
    foreign key (owner_id, library_id) references libraries (owner_id, id),
    foreign key (owner_id, parent_id) references assets (owner_id, id),
    foreign key (owner_id, blob_id) references blobs (owner_id, id),
    foreign key (owner_id, job_id) references jobs (owner_id, id)
);
create index assets_library on assets (library_id, id);
create index assets_parent on assets (parent_id);
create index assets_blob on assets (blob_id);
create index assets_job on assets (job_id);

alter table jobs add foreign key (asset_id) references assets (id) on delete set null;

create table events (
    owner_id uuid not null references owners (id),
    seq      bigint not null,
    type     text not null,
    job_id   uuid,
    data     jsonb not null,
    at       timestamptz not null default now(),
    primary key (owner_id, seq)
);
create index events_at on events (at);

create table workers (
    name         text primary key,
    host         text not null,
    pid          int not null,
    models       jsonb not null,
    started_at   timestamptz not null default now(),
    heartbeat_at timestamptz not null default now()
);
