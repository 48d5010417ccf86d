/** One piece of long work in each turn of the event loop, in the order asked for, however many have such work. Module state: there is one loop. */

const waiting: (() => void)[] = [];

/** Resolves when it is this caller's turn. Others who wait get a turn of their own each. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (waiting.push(resolve) === 1) setImmediate(giveTurn);
  });
}

function giveTurn(): void {
  waiting.shift()?.();
  if (waiting.length > 0) setImmediate(giveTurn);
}
