<?php
header('Content-Type: text/plain');
echo "Done.\n";
