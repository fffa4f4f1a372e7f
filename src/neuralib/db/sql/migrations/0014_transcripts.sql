-- What people made of transcripts. The first revision of one is the asset itself, as a machine wrote it; each save is
-- another, which nobody changes. `document` is the JSON as it is read, to the byte: its digest is in the recipes of jobs.

create table transcript_revisions (
    owner_id   uuid not null,
    asset_id   uuid not null,
    number     int not null check (number > 1),
    parent     int not null check (parent >= 1 and parent < number),
    restored   int check (restored >= 1 and restored < number),  -- the one that it brings back
    document   text not null,
    sha256     text not null,
    bytes      int not null,
    created_at timestamptz not null default now(),
    primary key (owner_id, asset_id, number) include (bytes),
    foreign key (owner_id, asset_id) references assets (owner_id, id) on delete cascade
);

-- Which revision a job was given; null: the asset's own bytes.
alter table job_inputs add column revision int;
