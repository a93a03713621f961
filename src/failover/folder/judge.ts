/** What is to be thought of a folder by what was seen in it. Pure. */
import { failure, type Outcome, pass, warning } from '../preflight/finding.ts'
import { isRemote } from './mount.ts'
import type { Exercise, Inspection } from './protocol.ts'

const leastFreeBytes = 1024 ** 3
const slowMs = 500
const skewMs = 5000

export function judgeThere(path: string, { exists, folder }: Inspection): Outcome {
  if (folder) return pass(`${path} is there`)
  return failure(
    exists ? `${path} is not a folder` : `${path} does not exist`,
    'mount the shared folder there, on both servers at the same path',
  )
}

export function judgeMount(path: string, { mount, onRootDisk, onDataDisk }: Inspection): Outcome {
  const elsewhere =
    'share a folder of a third machine and mount it at the same path on both servers'
  if (onRootDisk || onDataDisk) {
    const disk = onRootDisk ? 'system' : 'data'
    return warning(`${path} is on this server’s own ${disk} disk`, elsewhere)
  }
  if (mount === undefined) return warning(`on what ${path} is mounted cannot be told`, elsewhere)
  const described = `${path} is ${mount.source} (${mount.type})`
  return isRemote(mount.type) === false
    ? warning(`${described}, a disk of this server itself`, elsewhere)
    : pass(described)
}

export function judgeOwner(path: string, seen: Inspection, deployment: string): Outcome {
  if (seen.deployment === deployment) return pass(`${path} belongs to this deployment`)
  if (seen.deployment !== undefined) {
    return failure(`${path} belongs to another deployment`, 'name an empty folder of its own')
  }
  if (seen.strangers.length === 0) return pass(`${path} is empty`)
  return failure(
    `${path} is not empty: ${seen.strangers.join(', ')}`,
    'name an empty folder, or make one in it and name that',
  )
}

export function judgeSpace({ freeBytes }: Inspection): Outcome {
  const said = `${Math.round(freeBytes / 1024 ** 2)} MiB free`
  return freeBytes >= leastFreeBytes
    ? pass(said)
    : warning(said, `make room: at least ${leastFreeBytes / 1024 ** 3} GiB should be free`)
}

export function judgeGit({ git }: Inspection): Outcome {
  return git === undefined
    ? warning('there is no program git: there will be no configuration mirror', 'install git')
    : pass(git)
}

export function judgeExercise({ same, renamed, synced, latencyMs }: Exercise): Outcome {
  const options = 'look at the mount options in docs/operation/shared-folder.md'
  if (!same) return failure('a file read back was not the one written', options)
  if (!renamed) return failure('a file cannot be replaced by renaming another', options)
  if (!synced) return warning('files cannot be synced: a crash there may lose some', options)
  const said = `written, synced, renamed and read back in ${Math.round(latencyMs)} ms`
  return latencyMs > slowMs ? warning(said, 'a faster file server or way to it') : pass(said)
}

export function judgeClock({ clockAheadMs }: Exercise): Outcome {
  const seconds = Math.abs(clockAheadMs / 1000).toFixed(1)
  if (Math.abs(clockAheadMs) <= skewMs) return pass(`within ${seconds} s of this server’s`)
  const way = clockAheadMs > 0 ? 'ahead of' : 'behind'
  return warning(`${seconds} s ${way} this server’s`, 'let both take the time from one source')
}
