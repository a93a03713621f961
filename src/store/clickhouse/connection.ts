/** Where ClickHouse's HTTP protocol is spoken: the embedded engine, or a server of somebody else's. */
export interface Connection {
  /** `http://127.0.0.1:40123`; an embedded engine may come back on another port. */
  readonly url: string
  readonly username: string
  readonly password: string
  /**
   * Waits until it is worth trying, false if that takes longer than `withinMs`. A remote server has
   * none: whether it is there shows when one tries.
   */
  available?(withinMs: number): Promise<boolean>
}
