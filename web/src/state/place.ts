/** Where in the page we are: kept behind the # of the address, so that reload, back and links work. */

import { signal } from "@preact/signals";

export type Place =
  /** `query`: how the list is filtered, sorted and shown, as in an address. */
  | { view: "library"; library: string | null; query: string }
  | { view: "track"; track: string }
  | { view: "models" }
  | { view: "trash" };

function read(): Place {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const [view, id] = path.split("/");
  if (view === "tracks" && id) return { view: "track", track: id };
  if (view === "models") return { view: "models" };
  if (view === "trash") return { view: "trash" };
  return { view: "library", library: view === "libraries" && id ? id : null, query };
}

export const place = signal<Place>(read());

let shelf = "";

/** The library as it was looked at last, with its filters. */
export const backToLibrary = (id: string): string => (shelf.startsWith(toLibrary(id)) ? shelf : toLibrary(id));

function moved(): void {
  place.value = read();
  if (place.value.view === "library") shelf = location.hash;
}

addEventListener("hashchange", moved);
moved();

export const toTrack = (id: string): string => `#/tracks/${id}`;
export const toLibrary = (id: string): string => `#/libraries/${id}`;

export function go(hash: string): void {
  location.hash = hash;
}

/** Change the address without a step back to what it was. */
export function rename(hash: string): void {
  history.replaceState(history.state, "", hash);
  moved();
}
