-- What people mark in a recording: regions and loops, which have an end, markers and cues, which have none. They change as
-- one set, whose version is the asset's: its ETag.

alter table assets add column regions_version int not null default 0;

create table regions (
    id         uuid primary key,
    owner_id   uuid not null,
    asset_id   uuid not null,
    kind       text not null check (kind in ('region', 'marker', 'loop', 'cue')),
    name       text,
    start_s    double precision not null check (start_s >= 0),
    end_s      double precision check (end_s > start_s),
    color      text,
    tags       text[] not null default '{}',
    version    int not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (owner_id, id),
    foreign key (owner_id, asset_id) references assets (owner_id, id) on delete cascade,
    check ((kind in ('region', 'loop')) = (end_s is not null))
);
create index regions_asset on regions (owner_id, asset_id, start_s, id);
