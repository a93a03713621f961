import { Modal, TextInput } from '@mantine/core'
import { IconPencil } from '@tabler/icons-react'
import { useState } from 'react'
import { useChange } from '../api/hooks.ts'
import { FormEnd } from '../parts/form-end.tsx'
import { WriteIcon } from '../parts/write-button.tsx'
import type { Heard } from '../search/exporters.ts'

type Exporter = Pick<Heard, 'exporter' | 'sampling'>

const mostPackets = 4_294_967_295

/** By what the counters of an exporter are multiplied, who says so, and how to say otherwise. */
export function ExporterSampling(props: { exporter: Exporter; set: number | undefined }) {
  const { exporter, set } = props
  const [editing, setEditing] = useState(false)
  const { rate, rule } = exporter.sampling
  return (
    <span className="row tight nowrap">
      <span>
        {rateText(set ?? rate)}{' '}
        {(set !== undefined || rule !== 'none') && (
          <span className="dim">
            ({set === undefined ? rule : `set here; by the exporter ${rateText(rate)}`})
          </span>
        )}
      </span>
      <WriteIcon
        needs="operator"
        label={`Set the sampling rate of ${exporter.exporter}`}
        onClick={() => setEditing(true)}
        testId="set-sampling"
      >
        <IconPencil size={14} />
      </WriteIcon>
      {editing && (
        <SetSampling address={exporter.exporter} set={set} onClose={() => setEditing(false)} />
      )}
    </span>
  )
}

function rateText(rate: number): string {
  return rate === 1 ? 'none' : `1 in ${rate}`
}

function SetSampling(props: { address: string; set: number | undefined; onClose: () => void }) {
  const { address, set, onClose } = props
  const change = useChange('setExporter', [
    ...(['listExporters', 'listHeardExporters', 'compareExporters', 'listAudit'] as const),
    ...(['getTrafficSeries', 'getTrafficTop', 'getExporterInterfaces'] as const),
  ])
  const [value, setValue] = useState(set === undefined ? '' : String(set))
  const sampling = value.trim() === '' ? null : Number(value)
  const wrong = sampling !== null && !(sampling >= 1 && sampling <= mostPackets)
  const ready = !wrong && Number.isInteger(sampling ?? 1)
  return (
    <Modal opened onClose={onClose} title={`Sampling of ${address}`}>
      <form
        className="form"
        onSubmit={event => {
          event.preventDefault()
          if (!ready) return
          change.mutate({ params: { address }, body: { sampling } }, { onSuccess: onClose })
        }}
      >
        <TextInput
          label="Packets of which it looks at one"
          description="Empty: as the exporter says. It holds for what is stored already, too."
          placeholder="1000"
          inputMode="numeric"
          data-autofocus
          value={value}
          error={ready ? undefined : `A whole number from 1 to ${mostPackets}`}
          onChange={event => setValue(event.currentTarget.value)}
          data-testid="sampling-rate"
        />
        <FormEnd
          error={change.error}
          busy={change.isPending}
          ready={ready}
          action="Save"
          testId="save-sampling"
          onCancel={onClose}
        />
      </form>
    </Modal>
  )
}
