/** What is dropped or chosen: the recordings among it, also those inside of folders, and what is none. */

export interface Found {
  files: File[];
  /** Names of what is no recording by its name and type: it is not sent. */
  skipped: string[];
}

const ENDINGS = /\.(aac|aif|aiff|aifc|caf|flac|m4a|m4b|mka|mkv|mov|mp3|mp4|oga|ogg|opus|wav|wave|webm)$/i;
export const ACCEPT = "audio/*,.flac,.wav,.aif,.aiff,.ogg,.opus,.m4a,.mp3,.mp4,.webm,.caf,.aac";
const DEEPEST = 12;
const MOST = 20_000;

const isHidden = (name: string): boolean => name.startsWith(".") || name === "Thumbs.db" || name === "desktop.ini";
const isAudio = (file: File): boolean => file.type.startsWith("audio/") || ENDINGS.test(file.name);

export function sorted(files: Iterable<File>): Found {
  const found: Found = { files: [], skipped: [] };
  for (const file of files) {
    if (isHidden(file.name)) continue;
    if (isAudio(file)) found.files.push(file);
    else found.skipped.push(file.name);
  }
  return found;
}

/** Call it in the handler of the drop itself: what was dropped cannot be read later. */
export async function dropped(transfer: DataTransfer): Promise<Found> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.() ?? null);
  const loose = [...transfer.files];
  if (!entries.some((entry) => entry?.isDirectory)) return sorted(loose);
  const files: File[] = [];
  for (const entry of entries) if (entry) await walk(entry, files, 0);
  return sorted(files);
}

async function walk(entry: FileSystemEntry, into: File[], depth: number): Promise<void> {
  if (into.length >= MOST || depth > DEEPEST || isHidden(entry.name)) return;
  if (entry.isFile) {
    into.push(await new Promise<File>((good, bad) => (entry as FileSystemFileEntry).file(good, bad)));
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  while (into.length < MOST) {
    // A reader tells a hundred at a time, and then none.
    const some = await new Promise<FileSystemEntry[]>((good, bad) => reader.readEntries(good, bad));
    if (some.length === 0) return;
    for (const each of some) await walk(each, into, depth + 1);
  }
}
