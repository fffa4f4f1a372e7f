/** A track heard from the list: one at a time, straight from its file. */

import { signal } from "@preact/signals";
import { contentUrl, type Asset } from "../api/client";
import { complain } from "./session";

/** The asset that is heard, or about to be. */
export const heard = signal<string | null>(null);
export const fraction = signal(0);

const ASKED_AT_MOST = 60;
let audio: HTMLAudioElement | null = null;

export function hear(asset: Asset): void {
  if (heard.value === asset.id) {
    hush();
    return;
  }
  hush();
  heard.value = asset.id;
  play(asset, contentUrl(asset.id), () => void lighter(asset));
}

export function hush(): void {
  if (audio) {
    audio.onerror = audio.onended = audio.ontimeupdate = null;
    audio.pause();
    audio.removeAttribute("src");
    audio.load();
  }
  audio = null;
  heard.value = null;
  fraction.value = 0;
}

function play(asset: Asset, url: string, failed: () => void): void {
  const element = new Audio(url);
  audio = element;
  element.ontimeupdate = () => {
    fraction.value = element.duration > 0 ? element.currentTime / element.duration : 0;
  };
  element.onended = hush;
  element.onerror = failed;
  element.play().catch((error: Error) => {
    if (error.name !== "NotAllowedError" || heard.value !== asset.id) return; // others come as an error of the element
    hush();
    complain(new Error("The browser does not let this page play yet: press play once more."));
  });
}

/** A format that this browser does not play: the server's light copy, which it may have to make first. */
async function lighter(asset: Asset): Promise<void> {
  const url = `${contentUrl(asset.id)}?variant=preview`;
  for (let asked = 0; asked < ASKED_AT_MOST && heard.value === asset.id; asked++) {
    const answer = await fetch(url, { method: "HEAD", credentials: "same-origin" }).catch(() => null);
    if (heard.value !== asset.id) return;
    if (answer?.status === 200) {
      play(asset, url, cannot);
      return;
    }
    if (answer?.status !== 202) break;
    await new Promise((again) => setTimeout(again, 1000));
  }
  if (heard.value === asset.id) cannot();
}

function cannot(): void {
  hush();
  complain(new Error("This recording cannot be played here."));
}
