/** Above the list: which library, words to search, the order, lines or cards, files in and out. */

import { useEffect, useRef } from "preact/hooks";
import { askFor, confirmed } from "../../parts/dialog";
import { Icon } from "../../parts/icons";
import { ACCEPT, sorted } from "../../state/files";
import { current, dropLibrary, filters, libraries, makeLibrary, renameLibrary, search, tracks } from "../../state/library";
import { go, toLibrary } from "../../state/place";
import { attempt, say } from "../../state/session";
import { show, shown } from "../../state/shown";
import { upload } from "../../state/uploads";

const SEARCH_MS = 200;

export function Toolbar() {
  return (
    <div class="toolbar">
      <Libraries />
      <Search />
      <label class="sort">
        <span class="hidden">Sort by</span>
        <select value={filters.value.sort} onChange={(event) => search({ sort: event.currentTarget.value })}>
          <option value="">{filters.value.q ? "Best match" : "Newest"}</option>
          {filters.value.q && <option value="-created_at">Newest</option>}
          <option value="name">Name</option>
          <option value="bpm">Tempo, slow first</option>
          <option value="-bpm">Tempo, fast first</option>
          <option value="-duration">Length</option>
          <option value="-rating">Rating</option>
        </select>
      </label>
      <span class="shown" role="group" aria-label="Show as">
        <button class="quiet" aria-pressed={shown.value === "list"} onClick={() => show("list")} aria-label="List" title="List"><Icon name="list" /></button>
        <button class="quiet" aria-pressed={shown.value === "grid"} onClick={() => show("grid")} aria-label="Cards" title="Cards"><Icon name="grid" /></button>
      </span>
      <span class="spring" />
      <a class="button quiet" href="#/trash" aria-label="Trash" title="Trash"><Icon name="trash" /></a>
      {current.value && tracks.value.length > 0 && (
        <a class="button" href={`/api/v1/libraries/${current.value}/export.zip`} download>
          <Icon name="download" /> Export
        </a>
      )}
      <label class="button primary">
        <Icon name="upload" /> Add songs
        <input
          class="hidden"
          id="files"
          type="file"
          accept={ACCEPT}
          multiple
          onChange={(event) => {
            const files = [...(event.currentTarget.files ?? [])];
            event.currentTarget.value = "";
            attempt(() => upload(sorted(files)));
          }}
        />
      </label>
    </div>
  );
}

/** Typed words go into the address after a moment; an address that changes otherwise goes into the field. */
function Search() {
  const timer = useRef(0);
  const field = useRef<HTMLInputElement>(null);
  const { q } = filters.value;
  useEffect(() => {
    if (field.current !== document.activeElement && field.current!.value.trim() !== q) field.current!.value = q;
  }, [q]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const type = (event: Event) => {
    const typed = (event.target as HTMLInputElement).value.trim();
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => search({ q: typed }), SEARCH_MS);
  };
  return (
    <label class="search">
      <Icon name="search" />
      <span class="hidden">Search names, tags and lyrics</span>
      <input id="search" ref={field} type="search" placeholder="Search names, tags, lyrics" onInput={type} />
    </label>
  );
}

function Libraries() {
  const known = libraries.value ?? [];
  const open = known.find((each) => each.id === current.value);
  const add = async () => {
    const name = await askFor({ title: "New library", label: "Name", yes: "Make it" });
    if (name) attempt(async () => go(toLibrary((await makeLibrary(name)).id)));
  };
  const rename = async () => {
    const name = await askFor({ title: "Rename the library", label: "Name", value: open!.name, yes: "Rename" });
    if (name) attempt(() => renameLibrary(open!.id, name));
  };
  const drop = async () => {
    const text = `With the ${open!.asset_count.toLocaleString()} recordings and files in it. It can be restored from the trash.`;
    if (await confirmed({ title: `Move “${open!.name}” to the trash?`, text, yes: "Move to the trash", danger: true }))
      attempt(async () => (await dropLibrary(open!.id), say("The library is in the trash.")));
  };
  return (
    <div class="libraries">
      <label>
        <span class="hidden">Library</span>
        <select value={current.value ?? ""} onChange={(event) => go(toLibrary(event.currentTarget.value))} disabled={known.length === 0}>
          {known.length === 0 && <option value="">No library yet</option>}
          {known.map((each) => (
            <option key={each.id} value={each.id}>{each.name}</option>
          ))}
        </select>
      </label>
      <button class="quiet" onClick={() => void add()} aria-label="New library" title="New library"><Icon name="plus" /></button>
      {open && <button class="quiet" onClick={() => void rename()} aria-label="Rename the library" title="Rename the library"><Icon name="pen" /></button>}
      {open && <button class="quiet" onClick={() => void drop()} aria-label="Delete the library" title="Delete the library"><Icon name="minus" /></button>}
    </div>
  );
}
