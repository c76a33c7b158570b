const api = window.electronAPI;
const user = document.getElementById("user");
const state = document.getElementById("state");
let callId;

document.getElementById("call").onclick = async () => {
  const session = await api.callInitiate({ userId: user.value, type: "video" }).catch(({ code, message }) => {
    state.textContent = `${code}: ${message}`;
  });
  callId = session && session.id;
};
document.getElementById("end").onclick = () => api.callEnd({ callId });

api.onCallOffer(async (event, offer) => {
  callId = offer.callId;
  if (confirm(`${offer.fromDisplayName} calls. Accept?`)) await api.callAccept({ callId });
  else await api.callReject({ callId });
});
api.onCallStateChange((event, change) => {
  state.textContent = change.reason ? `${change.state}: ${change.reason}` : change.state;
});
