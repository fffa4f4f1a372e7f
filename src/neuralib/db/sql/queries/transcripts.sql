-- name: revision_columns
number, parent, restored, sha256, bytes, created_at

-- name: list_revisions
select {revision_columns} from transcript_revisions where owner_id = $1 and asset_id = $2 order by number desc

-- name: newest_revision
select {revision_columns} from transcript_revisions
where owner_id = $1 and asset_id = $2 order by number desc limit 1

-- name: newest_revisions
-- With what they say, of those of the assets that have any.
select distinct on (asset_id) asset_id, {revision_columns}, document from transcript_revisions
where owner_id = $1 and asset_id = any($2::uuid[])
order by asset_id, number desc

-- name: newest_digests
select distinct on (asset_id) asset_id, number, sha256 from transcript_revisions
where owner_id = $1 and asset_id = any($2::uuid[])
order by asset_id, number desc

-- name: get_revision
select {revision_columns}, document from transcript_revisions where owner_id = $1 and asset_id = $2 and number = $3

-- name: insert_revision
insert into transcript_revisions (owner_id, asset_id, number, parent, restored, document, sha256, bytes)
values ($1, $2, $3, $4, $5, $6, $7, $8)
returning {revision_columns}

-- name: prune_revisions
-- The newest $3 stay, and what a job was given.
delete from transcript_revisions r
where owner_id = $1 and asset_id = $2
  and number <= (select max(number) from transcript_revisions where owner_id = $1 and asset_id = $2) - $3
  and not exists (select from job_inputs i where i.asset_id = r.asset_id and i.revision = r.number)

-- name: revisions_read
-- What a job was given, where it is not an asset's own bytes.
select i.ord, i.asset_id, r.document
from job_inputs i
left join transcript_revisions r on r.owner_id = i.owner_id and r.asset_id = i.asset_id and r.number = i.revision
where i.owner_id = $1 and i.job_id = $2 and i.revision is not null

-- name: copy_revisions
-- $3 are the new ids of $2.
insert into transcript_revisions (owner_id, asset_id, number, parent, restored, document, sha256, bytes, created_at)
select r.owner_id, n.id, r.number, r.parent, r.restored, r.document, r.sha256, r.bytes, r.created_at
from unnest($2::uuid[], $3::uuid[]) as n (old, id)
join transcript_revisions r on r.asset_id = n.old and r.owner_id = $1

-- name: index_sung
-- A transcript is found by what it says now; the forms that were written beside it are not found by what it said.
update assets a set search_text = case when a.id = t.id then $3 else '' end
from assets t
where t.owner_id = $1 and t.id = $2 and a.owner_id = $1
  and (a.id = t.id or (a.kind = 'transcript' and a.job_id = t.job_id and a.search_text <> ''))
