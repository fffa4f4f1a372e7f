/** What stands before the page when a key is needed, or nobody answers. */

import { useSignal } from "@preact/signals";
import { enter, unlock } from "../state/session";

export function Locked() {
  const problem = useSignal<string | null>(null);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const key = new FormData(event.currentTarget as HTMLFormElement).get("key") as string;
    unlock(key.trim()).catch((error: Error) => (problem.value = error.message));
  };
  return (
    <main class="door" id="main">
      <h1>NeuraLib</h1>
      <form onSubmit={submit}>
        <label for="key">API key</label>
        <input id="key" name="key" type="password" autocomplete="current-password" required placeholder="nlk_…" />
        {problem.value && <p class="why" role="alert">{problem.value}</p>}
        <button class="primary">Open</button>
      </form>
    </main>
  );
}

export function Away() {
  return (
    <main class="door" id="main">
      <h1>NeuraLib</h1>
      <p role="alert">The server does not answer.</p>
      <button class="primary" onClick={() => void enter()}>Try again</button>
    </main>
  );
}
