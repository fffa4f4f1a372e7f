-- What an analysis found: a summary on the asset itself, the beats, which other jobs go by, and the file that has it all.

alter table assets add column analysis jsonb;

create table analyses (
    asset_id uuid primary key,
    owner_id uuid not null,
    file_id  uuid not null,
    beats    double precision[] not null,  -- seconds
    foreign key (owner_id, asset_id) references assets (owner_id, id) on delete cascade,
    foreign key (owner_id, file_id) references assets (owner_id, id) on delete cascade
);
create index analyses_file on analyses (file_id);
