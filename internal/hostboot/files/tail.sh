systemctl daemon-reload
systemctl enable berth-boot.service
systemctl start --no-block berth-boot.service
echo "berth: the files are written, berth-boot.service goes on"
