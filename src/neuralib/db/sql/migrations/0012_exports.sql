-- Orders of exports: what was chosen. The archive is made when it is fetched, from what is there then.

create table exports (
    id            uuid primary key,
    owner_id      uuid not null references owners (id),
    library_id    uuid,
    asset_ids     uuid[] not null,  -- no links: every query is bound to the owner
    tree          boolean not null,
    include       text[] not null,
    name_template text not null,
    created_at    timestamptz not null default now(),
    expires_at    timestamptz not null,
    unique (owner_id, id),
    foreign key (owner_id, library_id) references libraries (owner_id, id) on delete cascade
);
