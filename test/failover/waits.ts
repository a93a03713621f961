/** Polls until something is so. @throws Error when it is not in time */
export async function deadline(reached: () => Promise<boolean>, withinMs = 10_000): Promise<void> {
  const end = Date.now() + withinMs
  while (!(await reached())) {
    if (Date.now() > end) throw new Error(`not reached in ${withinMs} ms`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}
