-- What people say of their assets, words by which they are found, the trash, and what a library holds in all.

-- Text as it is compared: without case, accents and punctuation, whatever the locale of the database is.
create function folded(text) returns text
language sql immutable strict parallel safe as $$
    select regexp_replace(
        replace(replace(replace(translate(
            regexp_replace(lower(normalize(lower($1), nfkd)), '[\u0300-\u036f]', '', 'g'),
            'øđðłħıŧ', 'oddlhit'), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'),
        '[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u2000-\u206f\u3000-\u303f]+', ' ', 'g')
$$;

-- Names and tags weigh most, then what is embedded in the file, notes, and what is sung. PostgreSQL keeps a megabyte of
-- words for one row; longer texts are found by what stands in front.
create function search_words(name text, tags text[], metadata jsonb, notes text, sung text) returns tsvector
language sql immutable parallel safe as $$
    select setweight(to_tsvector('simple', folded(name)), 'A')
        || setweight(to_tsvector('simple', folded(array_to_string(tags, ' '))), 'A')
        || setweight(to_tsvector('simple', folded(left(coalesce(
               (select string_agg(value, ' ') from jsonb_each_text(metadata)), ''), 20000))), 'B')
        || setweight(to_tsvector('simple', folded(left(notes, 20000))), 'C')
        || setweight(to_tsvector('simple', folded(left(sung, 100000))), 'D')
$$;

-- What somebody typed: all words, "a phrase", -without; the last word may be unfinished.
create function search_query(typed text) returns tsquery
language plpgsql immutable strict parallel safe as $$
declare
    part text[];
    term tsquery;
    whole tsquery := ''::tsquery;
begin
    for part in select regexp_matches(typed, '(-?)(?:"([^"]*)"|([^\s"]+))', 'g') loop
        term := phraseto_tsquery('simple', folded(coalesce(part[2], part[3])));
        if numnode(term) > 0 then
            if part[3] is not null and part[1] = '' and right(typed, length(part[3])) = part[3] then
                term := (term::text || ':*')::tsquery;
            end if;
            whole := whole && case when part[1] = '-' then !!term else term end;
        end if;
    end loop;
    return whole;
end
$$;

alter table assets
    add column tags        text[] not null default '{}' check (cardinality(tags) <= 64),
    add column rating      smallint check (rating between 0 and 5),
    add column favorite    boolean not null default false,
    add column color       text,
    add column notes       text not null default '',
    add column metadata    jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object'),
    add column bpm         real check (bpm between 1 and 1000),
    add column musical_key text,           -- as tonality.canonical writes it: 'A minor'
    add column search_text text not null default '',  -- of a transcript: what is sung
    add column duration    double precision generated always as ((audio ->> 'duration_s')::double precision) stored,
    add column search      tsvector generated always as
        (search_words(name, tags, metadata, notes, search_text)) stored,
    add column trashed_at   timestamptz,
    add column trashed_with uuid,          -- the asset or library whose trashing took it along: they come back together
    add check ((trashed_at is null) = (trashed_with is null));

create index assets_recent on assets (owner_id, created_at desc, id desc) where trashed_at is null;
create index assets_view on assets (library_id, created_at desc, id desc) where trashed_at is null;
create index assets_search on assets using gin (search);
create index assets_tags on assets using gin (tags);
create index assets_trash on assets (owner_id, trashed_at) where trashed_at is not null;
create index assets_trashed_with on assets (trashed_with) where trashed_with is not null;

alter table libraries add column trashed_at timestamptz;
create index libraries_trash on libraries (owner_id, trashed_at) where trashed_at is not null;

-- What a library holds, as a ledger: each change adds a line and none waits for another; reading adds them up, and now
-- and then somebody folds the lines of a library into one. Assets in the trash do not count.
create table library_ledger (
    library_id uuid not null references libraries (id) on delete cascade,
    assets     bigint not null,
    bytes      numeric not null,
    duration   numeric not null  -- of its roots
);
create index library_ledger_library on library_ledger (library_id) include (assets, bytes, duration);

create function keep_ledger() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into library_ledger
        select a.library_id, count(*), sum(b.bytes), coalesce(sum(a.duration::numeric) filter (where a.parent_id is null), 0)
        from new_rows a join blobs b on b.id = a.blob_id
        where a.trashed_at is null group by a.library_id;
    elsif tg_op = 'DELETE' then
        insert into library_ledger
        select a.library_id, -count(*), -sum(b.bytes),
               -coalesce(sum(a.duration::numeric) filter (where a.parent_id is null), 0)
        from old_rows a join blobs b on b.id = a.blob_id
        where a.trashed_at is null group by a.library_id;
    else
        insert into library_ledger
        select a.library_id, sum(sign), sum(sign * b.bytes),
               coalesce(sum(sign * a.duration::numeric) filter (where a.parent_id is null), 0)
        from (select *, 1 as sign from new_rows union all select *, -1 from old_rows) a
        join blobs b on b.id = a.blob_id
        where a.trashed_at is null
        group by a.library_id
        having sum(sign) <> 0 or sum(sign * b.bytes) <> 0
            or sum(sign * a.duration::numeric) filter (where a.parent_id is null) <> 0;
    end if;
    return null;
end
$$;

create trigger ledger_insert after insert on assets referencing new table as new_rows
    for each statement execute function keep_ledger();
create trigger ledger_update after update on assets referencing old table as old_rows new table as new_rows
    for each statement execute function keep_ledger();
create trigger ledger_delete after delete on assets referencing old table as old_rows
    for each statement execute function keep_ledger();

insert into library_ledger
select a.library_id, count(*), sum(b.bytes), coalesce(sum(a.duration::numeric) filter (where a.parent_id is null), 0)
from assets a join blobs b on b.id = a.blob_id group by a.library_id;
