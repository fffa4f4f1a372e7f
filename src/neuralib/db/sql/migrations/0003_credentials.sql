-- What opens the API for an owner: keys, of which only a digest is kept, and the browser sessions made from them.

alter table owners add column issuer text not null default '';  -- who vouches for the subject; '' is this installation
alter table owners drop constraint owners_subject_key, add unique (issuer, subject);

create table credentials (
    id           uuid primary key,
    owner_id     uuid not null references owners (id),
    parent_id    uuid,  -- the key that a session was made from: it ends with it
    kind         text not null check (kind in ('key', 'session')),
    name         text not null,
    prefix       text not null,
    digest       bytea not null unique,
    scopes       text[] not null,
    created_at   timestamptz not null default now(),
    expires_at   timestamptz,
    last_used_at timestamptz,
    unique (owner_id, id),
    foreign key (owner_id, parent_id) references credentials (owner_id, id) on delete cascade
);
create index credentials_parent on credentials (owner_id, parent_id);
