/** The shared folder: where it is, and what each server found in it. Pure. */
import type { Facts } from './facts.ts'
import { type Finding, failure, type Outcome, pass, skipped, warning, worst } from './finding.ts'
import { isLoopback, sameAddress } from './words.ts'

const setOne = 'name one with `keepwatch failover set --folder`'

export function folderElsewhereCheck(facts: Facts): Outcome {
  const { own, other, sharedFolder } = facts
  if (sharedFolder === null) {
    return warning(
      'there is no shared folder: what a dead server had not delivered yet waits until it is back',
      setOne,
    )
  }
  const servers = [own, ...(other ? [other] : [])]
  return worst(
    servers.map(server => {
      const { folderHost } = server
      if (folderHost === null) {
        // Who has looked into it has said so already.
        if (server.folder.length > 0) return skipped(`${server.server} has it from nobody`)
        return warning(
          `${sharedFolder} is on a disk of ${server.server} itself`,
          'share a folder of a third machine and mount it at the same path on both',
        )
      }
      const hosts = servers.filter(
        one =>
          isLoopback(folderHost) ||
          [one.advertise, one.hostname].includes(folderHost) ||
          one.addresses.some(({ address }) => sameAddress(address, folderHost)),
      )
      return hosts.length === 0
        ? pass(`${server.server} has it from ${folderHost}`)
        : failure(
            `${server.server} has it from ${folderHost}, which is one of the two servers`,
            'share a folder of a third machine: this one is gone with its server',
          )
    }),
  )
}

/** What each server found, by check; of two the worse. */
export function folderFindings({ own, other, sharedFolder }: Facts): Finding[] {
  if (sharedFolder === null) return []
  const found = [own, ...(other ? [other] : [])].flatMap(({ server, folder }) =>
    folder.map(finding => ({ ...finding, text: `${server}: ${finding.text}` })),
  )
  if (found.length === 0) {
    const outcome = skipped(`nobody has looked into ${sharedFolder} yet`)
    return [{ id: 'folder', title: 'Shared folder', ...outcome }]
  }
  return [...new Set(found.map(({ id }) => id))].map(id => {
    const same = found.filter(finding => finding.id === id)
    return { id, title: same[0]!.title, ...worst(same) }
  })
}
