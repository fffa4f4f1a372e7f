/** Reads what the server has, one reading at a time, so that no answer is shown over a newer one. */

export class Reading<T> {
  private changes = 0;
  private running: Promise<void> | null = null;
  private next: Promise<void> | null = null;

  constructor(
    private readonly read: () => Promise<T>,
    private readonly show: (found: T) => void | Promise<void>,
  ) {}

  /** Read anew, after what is being read already. Resolves when it is shown; all who ask meanwhile share it. */
  again(): Promise<void> {
    if (this.next !== null) return this.next;
    if (this.running === null) return this.begin();
    this.next = this.running.catch(() => undefined).then(() => this.begin());
    return this.next;
  }

  /** Something was changed here: what is being read now may be older, and is read once more instead of shown. */
  overtake(): void {
    this.changes++;
  }

  private begin(): Promise<void> {
    this.next = null;
    const mine = this.once();
    const over = () => void (this.running = null);
    mine.then(over, over);
    this.running = mine;
    return mine;
  }

  private async once(): Promise<void> {
    for (;;) {
      const before = this.changes;
      const found = await this.read();
      if (before === this.changes) return this.show(found);
    }
  }
}
