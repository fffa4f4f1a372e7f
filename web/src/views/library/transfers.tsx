/** Files on their way in: how far each is, and what can be done about it. */

import { Icon } from "../../parts/icons";
import { bytes, percent } from "../../parts/text";
import { toTrack } from "../../state/place";
import { attempt } from "../../state/session";
import { drop } from "../../state/library";
import { forget, goOn, goOnAll, onTheWay, pauseAll, skipped, transfers, type Transfer } from "../../state/uploads";

const SHOWN = 60;

export function Transfers() {
  const all = transfers.value;
  if (all.length === 0 && skipped.value.length === 0) return null;
  const waiting = all.slice(SHOWN).filter((each) => each.state.value === "waiting").length;
  return (
    <section class="transfers" aria-label="Coming in">
      {onTheWay.value.files > 1 && <Summary />}
      {all.length > 0 && (
        <ul aria-label="Uploads">
          {all.slice(0, SHOWN).map((each) => (
            <Row key={each.id} transfer={each} />
          ))}
        </ul>
      )}
      {waiting > 0 && <p class="rest">and {waiting} more wait for their turn</p>}
      {skipped.value.length > 0 && <Skipped names={skipped.value} />}
    </section>
  );
}

function Summary() {
  const { files, sent, bytes: whole, paused } = onTheWay.value;
  return (
    <header>
      <span class="figure">
        {files} files · {bytes(sent)} of {bytes(whole)}
      </span>
      <progress max={1} value={whole === 0 ? 0 : sent / whole} aria-label="All uploads" />
      <button onClick={paused ? goOnAll : pauseAll}>{paused ? "Go on with all" : "Pause all"}</button>
    </header>
  );
}

function Skipped({ names }: { names: string[] }) {
  return (
    <details class="skipped">
      <summary>
        {names.length === 1 ? "1 file is no recording and was skipped" : `${names.length} files are no recordings and were skipped`}
        <button class="quiet" onClick={(event) => (event.preventDefault(), (skipped.value = []))} aria-label="Forget what was skipped">
          <Icon name="close" />
        </button>
      </summary>
      <p>{names.join(", ")}</p>
    </details>
  );
}

function Row({ transfer }: { transfer: Transfer }) {
  const state = transfer.state.value;
  return (
    <li class={state}>
      <span class="name" title={transfer.name}>{transfer.name}</span>
      {state === "failed" ? <Why transfer={transfer} /> : state === "done" ? <In transfer={transfer} /> : <Going transfer={transfer} />}
      <span class="actions">
        <Actions transfer={transfer} />
        <button class="quiet" onClick={() => forget(transfer)} aria-label={`${state === "done" || state === "failed" ? "Forget" : "Cancel"} ${transfer.name}`}>
          <Icon name="close" />
        </button>
      </span>
    </li>
  );
}

function Why({ transfer: { problem } }: { transfer: Transfer }) {
  return (
    <span class="why" role="alert">
      {problem.value?.message} {problem.value?.mend}
    </span>
  );
}

function In({ transfer: { double } }: { transfer: Transfer }) {
  if (double.value === null) return <span class="told">in</span>;
  return (
    <span class="told">
      in, but <a href={toTrack(double.value)}>the same recording</a> was there before
    </span>
  );
}

function Going({ transfer }: { transfer: Transfer }) {
  const { size, name } = transfer;
  const share = size === 0 ? 0 : Math.min(1, transfer.sent.value / size);
  return (
    <span class="going">
      <progress max={1} value={share} aria-label={`Upload of ${name}`} />
      <span class="figure">{said(transfer, share)}</span>
    </span>
  );
}

function said(transfer: Transfer, share: number): string {
  const far = `${percent(share)} of ${bytes(transfer.size)}`;
  switch (transfer.state.value) {
    case "waiting":
      return transfer.sent.value > 0 ? `${far}, waits` : `waits · ${bytes(transfer.size)}`;
    case "stalled":
      return `${far}, waits for the server`;
    case "paused":
      return `${far}, paused`;
    case "lost":
      return `${far}: choose the file again to go on`;
    default:
      return share === 1 ? "checking" : far;
  }
}

function Actions({ transfer }: { transfer: Transfer }) {
  const { name } = transfer;
  switch (transfer.state.value) {
    case "failed":
      return <button onClick={() => goOn(transfer)}>Try again</button>;
    case "paused":
      return <button onClick={() => goOn(transfer)} aria-label={`Go on with ${name}`}>Go on</button>;
    case "lost":
      return <button onClick={() => document.getElementById("files")?.click()} aria-label={`Choose ${name} again`}>Choose</button>;
    case "done": {
      const asset = transfer.asset.value;
      if (transfer.double.value === null || asset === null) return null;
      return <button onClick={() => attempt(async () => (await drop([asset.id]), forget(transfer)))}>Drop this one</button>;
    }
    default:
      return transfer.inParts || transfer.state.value === "waiting" ? (
        <button onClick={() => transfer.pause()} aria-label={`Pause ${name}`}>Pause</button>
      ) : null;
  }
}
