-- name: schema_version
select max(version) from schema_migrations

-- name: insert_migration
insert into schema_migrations (version, name) values ($1, $2)
