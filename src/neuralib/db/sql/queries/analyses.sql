-- name: keep_analysis
insert into analyses (asset_id, owner_id, file_id, beats) values ($1, $2, $3, $4)
on conflict (asset_id) do update set file_id = excluded.file_id, beats = excluded.beats

-- name: summarise_asset
update assets
set analysis = $3, bpm = $4, musical_key = $5, version = version + 1, updated_at = now()
where owner_id = $1 and id = $2

-- name: get_analysis
select file_id, beats from analyses where owner_id = $1 and asset_id = $2

-- name: waiting_analyses
-- Those that nobody asked for: of uploads ($2 is their priority).
select id from jobs
where asset_id = any($1::uuid[]) and operation = 'analyze' and priority = $2 and state = 'queued'
order by id for update skip locked
