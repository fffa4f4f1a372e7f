/** The tracks of a library: search, narrow, drop, hear, tag, open. Only what is on the screen exists. */

import { useEffect } from "preact/hooks";
import { openLibrary } from "../../state/library";
import { attempt, complain } from "../../state/session";
import { findLost } from "../../state/uploads";
import { Bar, Tagger, Told } from "./acts";
import { Filters } from "./filters";
import { Toolbar } from "./toolbar";
import { Tracks } from "./tracks";
import { Transfers } from "./transfers";

export { summaryOf } from "./row";

export function LibraryView({ library, query }: { library: string | null; query: string }) {
  useEffect(() => {
    openLibrary(library, query).catch(complain);
  }, [library, query]);
  useEffect(() => attempt(findLost), []);
  return (
    <main class="library" id="main" tabIndex={-1}>
      <Toolbar />
      <Filters />
      <Transfers />
      <Tracks />
      <Bar />
      <Tagger />
      <Told />
    </main>
  );
}
