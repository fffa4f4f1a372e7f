/** The page: what is around every view. */

import { render } from "preact";
import { useEffect } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { live } from "./api/events";
import { Questions } from "./parts/dialog";
import { Icon } from "./parts/icons";
import { dropped } from "./state/files";
import { active, loadJobs, overall } from "./state/jobs";
import { place } from "./state/place";
import { attempt, complain, dismiss, door, enter, notices } from "./state/session";
import { upload } from "./state/uploads";
import { Away, Locked } from "./views/door";
import { Help, helping } from "./views/help";
import { JobsTray, open } from "./views/jobs";
import { LibraryView } from "./views/library";
import { ModelsView } from "./views/models";
import { TrackView } from "./views/track";
import { TrashView } from "./views/trash";
import "./style.css";
import "./style/shelf.css";
import "./style/cutting.css";
import "./style/words.css";

function Page() {
  useEffect(() => void enter(), []);
  switch (door.value) {
    case "opening":
      return null;
    case "locked":
      return <Locked />;
    case "away":
      return <Away />;
    case "open":
      return <Inside />;
  }
}

function Inside() {
  useEffect(() => {
    loadJobs().catch(complain);
    const keys = (event: KeyboardEvent) => {
      if ((event.target as Element).closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "/") {
        event.preventDefault();
        document.getElementById("search")?.focus();
      } else if (event.key === "j") open.value = !open.value;
      else if (event.key === "?") helping.value = true;
      else if (event.key === "u") document.getElementById("files")?.click();
    };
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  }, []);
  const at = place.value;
  return (
    <DropZone>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), document.getElementById("main")?.focus())}>Skip to content</a>
      <Top />
      {at.view === "library" && <LibraryView library={at.library} query={at.query} />}
      {at.view === "track" && <TrackView key={at.track} id={at.track} />}
      {at.view === "trash" && <TrashView />}
      {at.view === "models" && <ModelsView />}
      <JobsTray />
      <Notices />
      <Questions />
      <Help />
    </DropZone>
  );
}

function Top() {
  const share = overall.value;
  return (
    <header class="top">
      <a class="brand" href="#/">
        <svg viewBox="0 0 32 32" aria-hidden="true"><path d="M4 16h3l2-9 4 18 4-14 3 8 2-3h6" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" stroke-linejoin="round" /></svg>
        NeuraLib
      </a>
      <nav aria-label="Main">
        <a href="#/" aria-current={place.value.view === "library" ? "page" : undefined}>Library</a>
        <a href="#/models" aria-current={place.value.view === "models" ? "page" : undefined}>Models</a>
      </nav>
      <span class="spring" />
      {!live.value && <span class="away" role="status"><Icon name="warning" /> offline</span>}
      <button class="quiet" onClick={() => (helping.value = true)} aria-label="Keys" title="Keys (?)"><Icon name="help" /></button>
      <button onClick={() => (open.value = !open.value)} aria-expanded={open.value} title="J">
        <Icon name="jobs" /> Jobs
        {share !== null && <span class="count">{active.value.length}</span>}
        {share !== null && <progress max={1} value={share} aria-label="All jobs" />}
      </button>
    </header>
  );
}

function DropZone({ children }: { children: preact.ComponentChildren }) {
  const over = useSignal(0);
  const holds = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  return (
    <div
      class="page"
      onDragEnter={(event) => holds(event) && over.value++}
      onDragLeave={(event) => holds(event) && over.value--}
      onDragOver={(event) => holds(event) && event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        over.value = 0;
        const { dataTransfer } = event;
        if (dataTransfer) attempt(async () => upload(await dropped(dataTransfer)));
      }}
    >
      {children}
      {over.value > 0 && <div class="drop" aria-hidden="true">Drop to add</div>}
    </div>
  );
}

function Notices() {
  return (
    <div class="notices" aria-live="polite">
      {notices.value.map((notice) => (
        <div key={notice.id} class={`notice ${notice.kind}`} role={notice.kind === "failed" ? "alert" : "status"}>
          <p>
            {notice.text} {notice.mend && <span>{notice.mend}</span>}
          </p>
          <button class="quiet" onClick={() => dismiss(notice.id)} aria-label="Dismiss"><Icon name="close" /></button>
        </div>
      ))}
    </div>
  );
}

render(<Page />, document.getElementById("app")!);
