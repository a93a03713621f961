import type { Driver } from './drivers/driver.ts'

/** What a detection needs of a row of the syslog table. */
export interface SyslogRow {
  /** When it happened, ms since 1970. */
  time: number
  /** Address that it came from: `192.0.2.1`, `2001:db8::1`; `::ffff:192.0.2.1` is the first. */
  sender: string
  host: string
  /** The vendor's mnemonic, RFC 5424 MSGID, or empty. */
  msgId: string
  message: string
  raw: string
}

/** A device said that somebody configured it. */
export interface Change {
  user: string | undefined
  /** Where the user came from: an address, a terminal. */
  from: string | undefined
  mnemonic: string
}

/** Longer messages are not searched: no device says "configured" after so much text. */
const searchedCharacters = 2048

/** Whether this message of a device means that its configuration may have changed, and by whom. */
export function detectChange(driver: Driver, row: SyslogRow): Change | undefined {
  const text = row.raw.slice(0, searchedCharacters)
  for (const pattern of driver.change.syslog) {
    const found = pattern.exec(text)
    if (!found) continue
    return {
      user: found.groups?.user || undefined,
      from: found.groups?.from || undefined,
      mnemonic: row.msgId,
    }
  }
  return undefined
}
