-- Runs: the jobs of one pipeline on one track. What follows is decided where a job ends, in the same transaction.

create table runs (
    id               uuid primary key,
    owner_id         uuid not null references owners (id),
    pipeline         text not null,
    steps            jsonb not null,  -- as they were looked up when the run began
    asset_id         uuid references assets (id) on delete set null,
    output           jsonb not null,
    priority         smallint not null,
    max_attempts     int not null,
    timeout_s        double precision not null,
    rerun            boolean not null,
    metadata         jsonb not null default '{}',
    state            text not null default 'running'
                     check (state in ('running', 'succeeded', 'partial', 'failed', 'cancelled')),
    waiting          int not null,  -- steps that have not begun: each counts as a job of the owner
    cancel_requested boolean not null default false,
    created_at       timestamptz not null default now(),
    finished_at      timestamptz,
    unique (owner_id, id)
);
create index runs_owner on runs (owner_id, id desc);
create index runs_active on runs (owner_id) where state = 'running';
create index runs_asset on runs (asset_id);

-- One input of one step: its job, which other runs and requests may share, or why there is none.
create table run_parts (
    run_id   uuid not null,
    owner_id uuid not null,
    step     text not null,
    input_id uuid,  -- what it was: no link, for the asset may be deleted
    job_id   uuid,
    made     boolean not null default false,  -- the job is there because of this run
    fraction double precision not null default 0,  -- the farthest that its job has been
    error    jsonb,
    unique nulls not distinct (run_id, step, input_id),  -- nothing is started twice
    foreign key (owner_id, run_id) references runs (owner_id, id) on delete cascade,
    foreign key (owner_id, job_id) references jobs (owner_id, id)
);
create index run_parts_job on run_parts (job_id);

-- How fast models are here, for the weights of a run's steps.
create index jobs_speed on jobs (model, id desc) where state = 'succeeded';
