import { dirname } from 'node:path'
import { giveTo } from '../apps/setup/layout.ts'
import { accountOf, unitFolder, unitText, writeUnit } from '../apps/setup/unit.ts'

/** Writes the unit if one is wanted, and gives the files to who is to run the server. */
export function finishUnit(
  options: { systemd?: true | string; user?: string; data: string },
  server: { name: string; settings: string },
): { start: string } {
  const { systemd, user, data } = options
  if (user !== undefined) {
    const owner = accountOf(user)
    giveTo(owner, dirname(server.settings))
    giveTo(owner, data)
  }
  const byHand = `keepwatch server --settings ${server.settings}`
  if (systemd === undefined) return { start: byHand }
  const folder = systemd === true ? unitFolder : systemd
  const { file, command } = writeUnit(folder, unitText({ ...server, dataDir: data, user }))
  return { start: `${command}   (${file})` }
}
