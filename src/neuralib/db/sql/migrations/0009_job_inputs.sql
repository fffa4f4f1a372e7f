-- A job may have several inputs, in an order, some of them with a name that its parameters use. The first is also
-- jobs.asset_id: what the job makes are its children. A finished job outlives what it read.

create table job_inputs (
    job_id   uuid not null,
    owner_id uuid not null,
    ord      smallint not null,
    name     text,
    asset_id uuid,
    primary key (job_id, ord),
    unique (job_id, name),
    foreign key (owner_id, job_id) references jobs (owner_id, id) on delete cascade,
    foreign key (owner_id, asset_id) references assets (owner_id, id) on delete set null (asset_id)
);
create index job_inputs_asset on job_inputs (asset_id);

insert into job_inputs (job_id, owner_id, ord, asset_id)
select id, owner_id, 0, asset_id from jobs where asset_id is not null;
