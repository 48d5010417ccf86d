/** Something may have happened: wakes all who wait for it. Pure. */
export class News {
  readonly #waiting = new Set<() => void>();

  /** Resolves with the next news, or when `signal` fires. */
  wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener("abort", done);
    });
  }

  tell(): void {
    for (const done of [...this.#waiting]) done();
  }
}
