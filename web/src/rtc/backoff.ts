/** Waiting times between attempts: doubling from `first`, capped at `most`, shortened at random so that six venues do not return in step. */
export class Backoff {
  private attempt = 0;

  constructor(
    private readonly first = 250,
    private readonly most = 5000,
    private readonly random: () => number = Math.random,
  ) {}

  /** Milliseconds to wait before the next attempt. The first one after a reset is at most `first`. */
  next(): number {
    const ceiling = Math.min(this.most, this.first * 2 ** this.attempt);
    this.attempt++;
    return Math.round(ceiling * (0.5 + 0.5 * this.random()));
  }

  get attempts(): number {
    return this.attempt;
  }

  reset(): void {
    this.attempt = 0;
  }
}
