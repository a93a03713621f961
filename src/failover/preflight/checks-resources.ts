/** What each machine has enough of. Pure. */
import type { Facts, ServerFacts } from './facts.ts'
import { failure, type Outcome, pass, skipped, warning, worst } from './finding.ts'
import { bytes } from './words.ts'

const diskWarning = 10 * 2 ** 30
const diskFailure = 2 ** 30
// A machine of 4 GiB shows somewhat less.
const memoryWarning = 3.5e9
const memoryFailure = 1.7e9
const descriptorsWarning = 4096
const descriptorsFailure = 1024
const receiveBuffer = 32 * 2 ** 20

/** The outcome of one server after the other, the worst of them counts. */
export function ofEach(
  { own, other }: Pick<Facts, 'own' | 'other'>,
  check: (server: ServerFacts) => Outcome,
): Outcome {
  return worst([own, ...(other ? [other] : [])].map(check))
}

export function gitCheck(facts: Facts): Outcome {
  return ofEach(facts, ({ server, git }) =>
    git === null
      ? warning(
          `${server} has no git: it would keep no mirror of the configurations`,
          'install git (Debian package git)',
        )
      : pass(`${server} has ${git}`),
  )
}

export function diskCheck(facts: Facts): Outcome {
  return ofEach(facts, ({ server, disk }) => {
    if (disk === null) return skipped(`${server} could not ask`)
    const said = `${server} has ${bytes(disk.freeBytes)} free of ${bytes(disk.totalBytes)}`
    if (disk.freeBytes >= diskWarning) return pass(said)
    const repair = 'make room on the disk of dataDir, or set keepDays lower'
    return disk.freeBytes >= diskFailure ? warning(said, repair) : failure(said, repair)
  })
}

export function memoryCheck(facts: Facts): Outcome {
  return ofEach(facts, ({ server, memoryBytes }) => {
    const said = `${server} has ${bytes(memoryBytes)}`
    if (memoryBytes >= memoryWarning) return pass(said)
    const repair = 'give it 4 GiB: the engine alone may use 1 GiB'
    return memoryBytes >= memoryFailure ? warning(said, repair) : failure(said, repair)
  })
}

export function fileDescriptorsCheck(facts: Facts): Outcome {
  return ofEach(facts, ({ server, fileDescriptors }) => {
    if (fileDescriptors === null) return skipped(`${server} could not ask`)
    const said = `${server} may open ${fileDescriptors}`
    if (fileDescriptors >= descriptorsWarning) return pass(said)
    const repair = 'raise the limit: LimitNOFILE=65536 in the unit, or ulimit -n 65536'
    return fileDescriptors >= descriptorsFailure ? warning(said, repair) : failure(said, repair)
  })
}

export function receiveBufferCheck(facts: Facts): Outcome {
  return ofEach(facts, ({ server, receiveBufferBytes }) => {
    if (receiveBufferBytes === null) return skipped(`${server} could not ask`)
    const said = `${server} grants ${bytes(receiveBufferBytes)}`
    if (receiveBufferBytes >= receiveBuffer) return pass(said)
    return warning(
      `${said}: a burst of datagrams would be dropped`,
      `sysctl -w net.core.rmem_max=${receiveBuffer}, and the same in /etc/sysctl.d/keepwatch.conf`,
    )
  })
}
