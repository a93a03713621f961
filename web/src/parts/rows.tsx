import type { UseQueryResult } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { Answered } from './states.tsx'

export interface Column<Row> {
  /** Empty: the column needs no name, for its cells speak for themselves. */
  head: string
  /** Figures, to the right. */
  num?: boolean
  /** May break anywhere. */
  wrap?: boolean
  /** Left out in narrow windows. */
  wide?: boolean
  /** As narrow as its content. */
  tight?: boolean
  className?: string
  cell: (row: Row) => ReactNode
}

/** A table of what was answered, in its states: failed, loading, empty, rows, and more of them. */
export function Rows<T, Row>({
  query,
  what,
  rows: rowsOf,
  keyOf,
  columns,
  empty,
  label,
  testId,
  stacks = false,
  more,
}: {
  query: Pick<UseQueryResult<T, Error>, 'data' | 'isError' | 'error' | 'refetch'>
  /** For the error: "Could not load the devices". */
  what: string
  rows: (data: T) => readonly Row[]
  keyOf: (row: Row) => string | number
  columns: readonly Column<Row>[]
  empty: ReactNode
  /** Name of the table for those who do not see it. */
  label: string
  testId?: string
  /** In narrow windows a row becomes a few lines, what may break on a line of its own. */
  stacks?: boolean
  /** Shows older ones, if there are any. */
  more?: { label: string; busy?: boolean; show: () => void } | undefined
}) {
  const named = columns.some(column => column.head !== '')
  return (
    <Answered query={query} what={what}>
      {data => {
        const rows = rowsOf(data)
        return (
          <div className="table-scroll">
            {rows.length === 0 ? (
              empty
            ) : (
              <table className={stacks ? 't stacks' : 't'} aria-label={label} data-testid={testId}>
                {named && (
                  <thead>
                    <tr>
                      {columns.map((column, index) => (
                        <th
                          // biome-ignore lint/suspicious/noArrayIndexKey: columns keep their places
                          key={index}
                          className={classOf(column, false)}
                          aria-label={column.head === '' ? 'Actions' : undefined}
                        >
                          {column.head}
                        </th>
                      ))}
                    </tr>
                  </thead>
                )}
                <tbody>
                  {rows.map(row => (
                    <tr key={keyOf(row)}>
                      {columns.map((column, index) => (
                        <td
                          // biome-ignore lint/suspicious/noArrayIndexKey: columns keep their places
                          key={index}
                          className={classOf(column, true)}
                          data-head={stacks ? column.head.toLowerCase() : undefined}
                          style={column.tight === true ? { width: 1 } : undefined}
                        >
                          {column.cell(row)}
                        </td>
                      ))}
                    </tr>
                  ))}
                </tbody>
              </table>
            )}
            {more !== undefined && (
              <button type="button" className="more" disabled={more.busy} onClick={more.show}>
                {more.label}
              </button>
            )}
          </div>
        )
      }}
    </Answered>
  )
}

function classOf<Row>({ num, wrap, wide, className }: Column<Row>, cell: boolean) {
  const names = [
    num === true && 'num',
    wide === true && 'hide-narrow',
    cell && wrap === true && 'wrap',
    cell && className,
  ].filter(name => typeof name === 'string')
  return names.length === 0 ? undefined : names.join(' ')
}
