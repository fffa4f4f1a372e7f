/** The trash: what is in it, until when, and back out of it. */

import { useEffect } from "preact/hooks";
import { confirmed } from "../parts/dialog";
import { Icon } from "../parts/icons";
import { attempt, complain, say } from "../state/session";
import { closeTrash, emptyTrash, hasMore, moreTrash, openTrash, purge, restore, thrown, type Thrown } from "../state/trash";

export function TrashView() {
  useEffect(() => {
    openTrash().catch(complain);
    return closeTrash;
  }, []);
  const all = thrown.value;
  const empty = async () => {
    const sure = await confirmed({
      title: "Empty the trash?",
      text: "Everything in it is deleted for good, with all that was made from it.",
      yes: "Delete for good",
      danger: true,
    });
    if (sure) attempt(async () => say(`Deleted for good: ${await emptyTrash()}.`));
  };
  return (
    <main class="trash" id="main" tabIndex={-1}>
      <header>
        <h1>Trash</h1>
        <button class="danger" onClick={() => void empty()} disabled={!all || all.length === 0}>Empty the trash</button>
      </header>
      {all?.length === 0 && <p class="empty">There is nothing in the trash.</p>}
      {all && all.length > 0 && (
        <ul aria-label="In the trash">
          {all.map((each) => (
            <Item key={each.id} item={each} />
          ))}
        </ul>
      )}
      {hasMore.value && <button onClick={() => attempt(moreTrash)}>Show more</button>}
    </main>
  );
}

function Item({ item }: { item: Thrown }) {
  const { kind, name, assets } = item;
  const along = kind === "library" ? assets : assets - 1;
  const drop = async () => {
    if (await confirmed({ title: `Delete “${name}” for good?`, text: "It cannot come back.", yes: "Delete for good", danger: true }))
      attempt(async () => (await purge(item), say(`“${name}” is gone.`)));
  };
  return (
    <li>
      <span class="name">
        <strong>{name}</strong>
        <span class="facts">
          {kind === "library" && "library · "}
          {along > 0 && `with ${along} ${kind === "library" ? "in it" : "made from it"} · `}
          thrown away {day(item.trashed_at)}
          {item.expires_at && ` · kept until ${day(item.expires_at)}`}
        </span>
      </span>
      <button onClick={() => attempt(async () => (await restore(item), say(`“${name}” is back.`)))} aria-label={`Restore ${name}`}>
        <Icon name="again" /> Restore
      </button>
      <button class="quiet" onClick={() => void drop()} aria-label={`Delete ${name} for good`} title="Delete for good">
        <Icon name="trash" />
      </button>
    </li>
  );
}

const day = (moment: string): string => new Date(moment).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
