-- A job that was asked for again after it had ended badly.

alter table jobs add column retry_of uuid;
alter table jobs add foreign key (owner_id, retry_of) references jobs (owner_id, id);
create index jobs_retry_of on jobs (retry_of) where retry_of is not null;
