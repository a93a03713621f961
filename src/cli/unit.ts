import { chownSync } from 'node:fs'
import { dirname } from 'node:path'
import { giveTo } from '../apps/setup/layout.ts'
import {
  accountOf,
  foldersToUpgrade,
  startCommand,
  unitFolder,
  unitText,
  writeUnit,
} from '../apps/setup/unit.ts'

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
    for (const folder of foldersToUpgrade()) chownSync(folder, owner.uid, owner.gid)
  }
  if (systemd === undefined) {
    const installed = foldersToUpgrade().length > 0
    const plain = `keepwatch server --settings ${server.settings}`
    return { start: installed ? startCommand(server.settings) : plain }
  }
  const folder = systemd === true ? unitFolder : systemd
  const { file, command } = writeUnit(folder, unitText({ ...server, dataDir: data, user }))
  return { start: `${command}   (${file})` }
}
