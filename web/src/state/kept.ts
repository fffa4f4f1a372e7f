/** What was asked for last, by key: what nobody asked for longest makes room. */
export class Kept<V> {
  private readonly known = new Map<string, V>();

  constructor(private readonly most: number) {}

  /** What is kept under this key, or else what is made now. */
  of(key: string, make: () => V): V {
    const there = this.known.get(key);
    const value = there ?? make();
    this.known.delete(key);
    this.known.set(key, value);
    if (this.known.size > this.most) this.known.delete(this.known.keys().next().value!);
    return value;
  }

  get(key: string): V | undefined {
    return this.known.get(key);
  }

  delete(key: string): void {
    this.known.delete(key);
  }
}
