// Connects to the remote through the wsplice server, sends it a text and a binary message, and prints what comes back.
'use strict'

const [url, remote] = process.argv.slice(2)
const control = 0xffff
const socket = new WebSocket(url)
socket.binaryType = 'arraybuffer'

function send (index, text) {
  const body = Buffer.from(text)
  const message = Buffer.alloc(2 + body.length)
  message.writeUInt16BE(index)
  body.copy(message, 2)
  socket.send(message)
}

socket.onopen = () => {
  send(control, JSON.stringify({ id: 42, type: 'method', method: 'connect', params: { url: remote } }))
}
socket.onmessage = ({ data }) => {
  const message = Buffer.from(data)
  const index = message.readUInt16BE()
  const text = message.subarray(2).toString()
  console.log(index, text)
  if (index === control && text.includes('"result":{"index"')) send(0, 'hello')
  if (index === 0) send(control, JSON.stringify({ id: 43, type: 'method', method: 'terminate', params: { index: 0 } }))
  if (text.includes('"id":43')) socket.close(1000)
}
socket.onerror = ({ message }) => console.log('error', message)
socket.onclose = ({ code }) => console.log('closed', code)
